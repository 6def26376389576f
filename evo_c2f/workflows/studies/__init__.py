"""The studies: does the ranking hold, which training and which search pay, which operators and winners?"""
